# Outlives the process that started it, long enough to take away what that process left behind.
#
# $1: the instance's record (see record.rs). Standard input: a pipe that ends when our owner does.

# Whoever interrupts our owner may signal us too; our end is our owner's end, nothing else.
trap '' HUP INT QUIT TERM

while read -r _; do :; done

# An owner who stopped in order has taken the record away.
[ -f "$1" ] || exit 0

# alive PID START: whether that process, and no later one of the same number, still runs.
alive() {
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    started=$2
    # The program's name is in brackets and may hold blanks; behind the last bracket state is the first field
    # and the start the twentieth.
    set -- ${stat##*) }
    case $1 in Z | X) return 1 ;; esac
    [ "${20}" = "$started" ]
}

# Killed, not asked: nothing they would still write is of use to anybody.
while read -r kind pid started _; do
    [ "$kind" = process ] && alive "$pid" "$started" && kill -s KILL "$pid"
done <"$1"

# Files that a dying process still writes would keep its directory from going.
tries=0
while read -r kind pid started _; do
    while [ "$kind" = process ] && alive "$pid" "$started" && [ "$tries" -lt 500 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
done <"$1"

keep=no
cgroups=no
directory=
while read -r kind rest; do
    case $kind in
    keep) keep=yes ;;
    cgroups) cgroups=yes ;;
    directory) directory=$rest ;;
    esac
done <"$1"
# From the innermost; what is no folder of ours has another name.
if [ "$cgroups" = yes ] && [ -n "$directory" ]; then
    for group in "/sys/fs/cgroup/ccm-envtest-${directory##*/}" /sys/fs/cgroup/*/"ccm-envtest-${directory##*/}"; do
        [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} ';' 2>/dev/null
    done
fi
if [ "$keep" = no ] && [ -n "$directory" ]; then
    rm -rf -- "$directory"
fi
# The other name is that of a record which was being replaced.
rm -f -- "$1" "$1.new"

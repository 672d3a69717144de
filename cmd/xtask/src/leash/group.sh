# Ends a process group when whoever started it is gone, however it went: the pipe that is read here closes.
# $1 is the process ID of the group's leader, $2 when that started; another process may have been given the ID since.
read -r _
read -r stat <"/proc/$1/stat" || exit
# The program's name is in brackets and may hold blanks; what follows begins with the third field, so that each gets its own
# number here. The twenty-second is the start.
set -- "$1" "$2" ${stat##*) }
[ "${22}" = "$2" ] && kill -s KILL -- "-$1"

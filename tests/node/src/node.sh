# Process 1 of the node: makes its mounts, then runs containerd and the kubelet. Whatever they start ends with it.
#
# $1: a folder with the node's files. $2: the node's name. $3: the kubelet. What follows: its arguments. Run in new
# namespaces, as root.
set -eu
dir=$1
echo "$2" >/proc/sys/kernel/hostname
shift 2

# What pods mount is to be seen by the kubelet and the other way round, but not by the machine.
mount --make-rprivate /
mount --make-rshared /

# What is written is the node's own, and in memory. /var/lib stays readable: programs may be there.
mount -t tmpfs -o mode=755 node /run
mount -t tmpfs -o mode=755 node /var/log
mkdir -p /run/node/upper /run/node/work /run/node/sysctl
mount -t overlay node -o lowerdir=/var/lib,upperdir=/run/node/upper,workdir=/run/node/work /var/lib
mkdir -p /var/lib/kubelet
mount -t tmpfs node /var/lib/kubelet

# Settings of the machine that a kubelet would change: it finds them as it wants them, in a file of the node's.
while read -r name value; do
    [ -e "/proc/sys/$name" ] || continue
    file=/run/node/sysctl/${name##*/}
    echo "$value" >"$file"
    mount --bind "$file" "/proc/sys/$name"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# Whoever started us plugs the network in from outside, and says which address we have.
: >"$dir/mounted"
until [ -e "$dir/linked" ]; do sleep 0.02; done
read -r address <"$dir/linked"

containerd --config "$dir/containerd.toml" >>"$dir/containerd.log" 2>&1 &
containerd=$!
until ctr version >/dev/null 2>&1; do
    kill -0 "$containerd"
    sleep 0.05
done
ctr --namespace k8s.io images import "$dir/pause.tar"

"$@" --node-ip="$address" >>"$dir/kubelet.log" 2>&1 &
kubelet=$!
: >"$dir/started"

# Waiting also takes in what has lost its parent.
while kill -0 "$containerd" && kill -0 "$kubelet"; do
    sleep 1 &
    wait "$!"
done
exit 1

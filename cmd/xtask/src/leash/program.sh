# Ends a program when whoever started it is gone, however it went: the pipe that is read here closes.
# $1 is the program's process ID, $2 its file; another process may have been given the ID since.
read -r _
case "$(readlink "/proc/$1/exe")" in
"$2" | "$2 (deleted)") kill -KILL "$1" ;;
esac

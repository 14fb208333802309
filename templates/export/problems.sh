# shellcheck shell=sh
# Says in an interactive shell what `machine-finish` found missing, since Lima does not.
case $- in
*i*) [ ! -s /run/machine/problems ] || cat /run/machine/problems >&2 ;;
esac

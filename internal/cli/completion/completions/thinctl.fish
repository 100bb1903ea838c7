# fish completion for thinctl

function __thinctl_propose
    set -l words (commandline -opc)
    $words (commandline -ct) --generate-bash-completion 2>/dev/null
end

complete -c thinctl -f -a '(__thinctl_propose)'
# Where thinctl proposes nothing, a path is likely: a device or a directory.
complete -c thinctl -F -n 'test -z "$(__thinctl_propose)"'

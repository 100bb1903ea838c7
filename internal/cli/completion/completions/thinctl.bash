# bash completion for thinctl

_thinctl() {
    local IFS=$'\n'
    # The line up to the cursor, split by blanks alone: a colon is part of a name.
    local words cur="" line=${COMP_LINE:0:COMP_POINT}
    IFS=$' \t\n' read -r -a words <<<"$line"
    [[ $line == *[[:blank:]] ]] || { cur=${words[-1]}; unset 'words[-1]'; }
    COMPREPLY=($("${words[@]}" "$cur" --generate-bash-completion 2>/dev/null))
    # What bash takes for the word begins after its last break.
    local rest=${COMP_WORDS[COMP_CWORD]}
    if [[ $cur != "$rest" && $cur == *[:=]* ]]; then
        local skip=${cur%"${cur##*[:=]}"}
        COMPREPLY=("${COMPREPLY[@]#"$skip"}")
    fi
}

complete -o default -F _thinctl thinctl

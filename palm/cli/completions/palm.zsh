#compdef palm
# Completion of the command palm for zsh. Put it where zsh looks, a folder of $fpath:
#   palm completion zsh > "${fpath[1]}/_palm"
# or read it at once: source <(palm completion zsh)

_palm() {
    local -a found
    found=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( ${#found} )); then
        compadd -a found
    else
        _files
    fi
}

if [[ "${funcstack[1]}" == "_palm" ]]; then
    _palm "$@"
else
    compdef _palm palm
fi

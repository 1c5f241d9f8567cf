# Completion of the command palm for bash. Put it where bash-completion looks:
#   palm completion bash > ~/.local/share/bash-completion/completions/palm
# or read it at once: source <(palm completion bash)

_palm() {
    local IFS=$'\n'
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    # COMP_WORDS splits at : and =; the last word is what is completed.
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)
}
complete -o default -F _palm palm

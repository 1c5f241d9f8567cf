# Completion of the command palm for fish. Put it where fish looks:
#   palm completion fish > ~/.config/fish/completions/palm.fish
# or read it at once: palm completion fish | source

function __palm_complete
    set -l words (commandline -opc)
    $words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c palm -a '(__palm_complete)'

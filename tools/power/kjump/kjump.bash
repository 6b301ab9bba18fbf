# SPDX-License-Identifier: GPL-2.0
# Completion for bash: verbs and options as kjump itself lists them.
_kjump()
{
	local cur=${COMP_WORDS[COMP_CWORD]} verb='' words i

	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -* || ${COMP_WORDS[i]} == help ]] && continue
		verb=${COMP_WORDS[i]}
		break
	done
	if [[ $verb == '' && $cur != -* ]]; then
		words="help $(kjump --help | sed -n 's/^  \([a-z]*\) .*/\1/p')"
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
	elif [[ $cur == --*=* ]]; then
		COMPREPLY=($(compgen -f -- "${cur#*=}"))
	elif [[ $cur == -* ]]; then
		words="--help --quiet --verbose"
		if [[ $verb != '' ]]; then
			words+=" $(kjump "$verb" --help | grep -o -- '--[a-z][a-z-]*' | sort -u)"
		else
			words+=" --version"
		fi
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
	else
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
complete -o filenames -F _kjump kjump

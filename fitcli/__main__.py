"""`python -m fitcli`, where the console script is not on the path."""

from fitcli.app import main

main()

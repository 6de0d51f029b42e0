"""`python -m foreact`: the command where its script is not on the path."""

from foreact.cli.main import main

if __name__ == "__main__":
    main()

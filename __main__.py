"""`python -m foveal`: the command line where the console script is not on the path."""

from .cli.main import entry_point

if __name__ == "__main__":
    entry_point()

"""`python -m sims` lists the sims, each with the question that it answers; nothing of them is imported."""

import ast
import shutil
import textwrap
from pathlib import Path


def listed(folder: Path = Path(__file__).parent) -> dict[str, str]:
    """Name of every sim -> the first line of its file's docstring; second names of a sim are left out."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
        if any(isinstance(target, ast.Name) and target.id == "SIM" for target in targets):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main() -> None:
    """Print the list, and how to go on from it."""
    sims = listed()
    column, width = max(map(len, sims)) + 2, shutil.get_terminal_size((80, 24)).columns
    for name, words in sims.items():
        print(textwrap.fill(f"{name:<{column}}{words}", width, subsequent_indent=" " * column))
    print("\npython -m sims.NAME runs one, with --smoke in seconds; --help lists its options")


if __name__ == "__main__":
    main()

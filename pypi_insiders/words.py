"""Write numbers of things for people."""


def counted(number: int, thing: str) -> str:
    """Write how many there are: `1 project`, `2 projects`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"

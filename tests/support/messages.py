"""Messages that several tests expect."""

UNNAMED = (
    "warning: {0}: project name unknown{1}; until it is known, installers can get a public "
    "package of that name\n"
    "hint: `pypi-insiders repos set {0} project=PROJECT`\n"
)

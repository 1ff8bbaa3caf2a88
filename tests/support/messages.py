"""Messages that several tests expect."""

UNNAMED = (
    "warning: {0}: project name unknown{1}; until the first build, installers can get a public "
    "package of that name\n"
    "hint: `pypi-insiders repos set {0} project=PROJECT`\n"
)

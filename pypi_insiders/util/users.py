"""Name the users of this machine."""

import os
import pwd


def user_name(user_id: int | None = None) -> str:
    """Return the name of a user, or the number of a user without a name.

    Args:
        user_id: the number; `None`: of the user of this process. Not by `USER`, which setpriv(1)
            and runuser(1) leave as it was.
    """
    number = os.getuid() if user_id is None else user_id
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)

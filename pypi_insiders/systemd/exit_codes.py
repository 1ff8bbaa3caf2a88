"""Explain the exit statuses with which systemd reports that it could not run a program.

Source: systemd.exec(5), "PROCESS EXIT CODES".
"""

# systemd uses 200 to 245 for steps before the program runs. A program could use them, too; this one
# does not.
_CODES = {
    200: ("CHDIR", "enter the working directory of"),
    201: ("NICE", "set the priority of"),
    202: ("FDS", "pass the sockets to"),
    203: ("EXEC", "run the program of"),
    204: ("MEMORY", "allocate memory for"),
    205: ("LIMITS", "set the resource limits of"),
    206: ("OOM_ADJUST", "set OOMScoreAdjust= of"),
    207: ("SIGNAL_MASK", "set the signal mask of"),
    208: ("STDIN", "open the standard input of"),
    209: ("STDOUT", "open the standard output of"),
    210: ("CHROOT", "change the root directory of"),
    211: ("IOPRIO", "set the I/O priority of"),
    212: ("TIMERSLACK", "set the timer slack of"),
    213: ("SECUREBITS", "set the secure bits of"),
    214: ("SETSCHEDULER", "set the CPU scheduling of"),
    215: ("CPUAFFINITY", "set the CPU affinity of"),
    216: ("GROUP", "set the group of"),
    217: ("USER", "set the user of"),
    218: ("CAPABILITIES", "set the capabilities of"),
    219: ("CGROUP", "set up the control group of"),
    220: ("SETSID", "create a session for"),
    221: ("CONFIRM", "get a confirmation for"),
    222: ("STDERR", "open the standard error of"),
    224: ("PAM", "open a PAM session for"),
    225: ("NETWORK", "set up the network namespace of"),
    226: ("NAMESPACE", "set up the file system namespace of"),
    227: ("NO_NEW_PRIVILEGES", "set NoNewPrivileges= of"),
    228: ("SECCOMP", "set the system call filter of"),
    229: ("SELINUX_CONTEXT", "set the SELinux context of"),
    230: ("PERSONALITY", "set the execution domain of"),
    231: ("APPARMOR_PROFILE", "set the AppArmor profile of"),
    232: ("ADDRESS_FAMILIES", "restrict the address families of"),
    233: ("RUNTIME_DIRECTORY", "create the runtime directory of"),
    235: ("CHOWN", "change the owner of a socket or directory of"),
    236: ("SMACK_PROCESS_LABEL", "set the SMACK label of"),
    237: ("KEYRING", "set up the kernel keyring of"),
    238: ("STATE_DIRECTORY", "create the state directory of"),
    239: ("CACHE_DIRECTORY", "create the cache directory of"),
    240: ("LOGS_DIRECTORY", "create the log directory of"),
    241: ("CONFIGURATION_DIRECTORY", "create the configuration directory of"),
    242: ("NUMA_POLICY", "set the NUMA policy of"),
    243: ("CREDENTIALS", "read a credential of"),
    245: ("BPF", "apply the BPF restrictions of"),
}

SKIPPED = "exec-condition"
"""The property `Result` of a service whose `ExecCondition=` was not met."""


def explain(unit: str, status: str) -> str | None:
    """Return why systemd could not run the program of a unit; `None` if it was run.

    Args:
        unit: the service.
        status: its property `ExecMainStatus`.
    """
    if not status.isdecimal() or int(status) not in _CODES:
        return None
    name, what = _CODES[int(status)]
    return f"systemd cannot {what} {unit} ({status}/{name})"


def is_failure(result: str) -> bool:
    """Return whether the property `Result` of a service is a failure.

    It is not if an `ExecCondition=` of the user has skipped the run. Source: systemd.service(5).
    """
    return result not in ("", "success", SKIPPED)

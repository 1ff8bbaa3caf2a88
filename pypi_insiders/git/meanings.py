"""What the messages of git, ssh, curl and Git hosts mean."""

from pypi_insiders.git.errors import (
    HERE,
    HTTP,
    PATH,
    SSH,
    AccessError,
    Meaning,
    RefusedError,
    UnreachableError,
)  # fmt: skip
from pypi_insiders.git.tls_meanings import TLS_MEANINGS
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.network_failures import PASSING_STATUS, UNREACHABLE, UNRESOLVED

# What hosts put before their messages. Anchored wherever a banner of ssh could have the same words.
# Possessive (`*+`), or a hostile host's line of such words would take a time that is quadratic.
_HOST = r"^(?:remote: *|ERROR: *|fatal: (?:remote error: *)?|conq: *|(?:Gitea|Forgejo|Gogs): *)*+"
# Of curl: a status of the host, and of a proxy in the words of curl 7 and of curl 8.
_STATUS = r"(?:returned error:|HTTP code|tunnel failed, response) "
_RETRY = "the next update tries again"
# Parts of the paths of sign-in pages, such as `/users/sign_in` of GitLab.
_LOGIN = r"(?i:log-?in|sign[_-]?in|saml|sso|oauth|openid|auth|session)"

# In the C locale, which LC_ALL sets, of git 2.39 to 2.55, OpenSSH, curl 7 and 8 with GnuTLS and
# OpenSSL. The first match counts, so specific messages come first: ssh and git add general ones.
MEANINGS = (
    # On this machine.
    Meaning(
        r"cannot run ssh: No such file",
        InsidersError,
        "ssh is not installed",
        "install it, on Debian with `sudo apt install openssh-client`{https}",
        HERE,
    ),
    Meaning(
        r"^git: 'credential-(?P<helper>[\w.-]+)' is not a git command",
        AccessError,
        "credential helper {helper} is not installed",
        "install it, or see where it is set: `git config --show-origin --get-all "
        "credential.helper`",
        HTTP,
    ),
    Meaning(
        # Of dash and of bash, by which git runs a helper with a path.
        r" get: (?:line )?\d+: (?P<helper>[^:\n]+): (?:not found|No such file|Permission denied)",
        AccessError,
        "credential helper {helper} cannot be run",
        "install it, or see where it is set: `git config --show-origin --get-all "
        "credential.helper`",
        HTTP,
    ),
    Meaning(
        # The hint names the file, so a host must not be able to choose it.
        r"^Bad owner or permissions on (?P<file>\S+)",
        InsidersError,
        "others can write ssh's configuration, so ssh refuses it",
        "`chmod 600 {file}`",
        SSH,
    ),
    Meaning(
        r"Bad configuration option|: no argument after keyword",
        InsidersError,
        "ssh's configuration is wrong",
        "edit ~/.ssh/config",
        HERE,
    ),
    Meaning(
        r"detected dubious ownership in repository at '(?P<path>[^'\n]+)'",
        InsidersError,
        "the repository belongs to another user",
        "if you trust it: `git config --global --add safe.directory {path}`",
        PATH,
    ),
    Meaning(
        r"Problem with the SSL CA cert|error setting certificate (?:verify|file)"
        r"|error (?:reading ca cert|adding trust anchors)",
        InsidersError,
        "git cannot read the file of trusted certificates",
        "check `http.sslCAInfo` of git, and GIT_SSL_CAINFO",
        HERE,
    ),
    Meaning(
        r"could not load (?:PEM )?client certificate|unable to set private key file"
        r"|certificate required|certificate_required",
        InsidersError,
        "the host requires a client certificate, or git cannot read it",
        "check `http.sslCert` and `http.sslKey` of git",
        HERE,
    ),
    # Keys of hosts.
    Meaning(
        r"Host key for (?P<place>\S+) has changed",
        InsidersError,
        "the host's ssh key has changed, or another host answers",
        "ask the host's owner; if it has changed, run `ssh-keygen -R {place}`, then check the "
        "fingerprint: {ssh}",
        SSH,
    ),
    # Git's `insteadOf` may turn a URL of https into one of ssh.
    Meaning(
        # Without the name, which the host may have chosen: no `ssh-keygen -R` in the hint.
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        InsidersError,
        "the host's ssh key has changed, or another host answers",
        "ask the host's owner; `git ls-remote {url}` prints which key to remove",
        HERE,
    ),
    Meaning(
        r"no matching (?:host key type|key exchange method|cipher|MAC) found",
        InsidersError,
        "the host and ssh have no algorithm in common",
        "ask the host's owner to update it, or allow its offer in ~/.ssh/config: "
        "`man ssh_config`{https}",
        HERE,
    ),
    Meaning(
        r"^Host key verification failed|^No \w+ host key is known",
        InsidersError,
        "the host's ssh key is unknown",
        "connect once and check the fingerprint: {ssh}",
        HERE,
    ),
    # What hosts say.
    Meaning(
        r"enabled or enforced SAML SSO|valid SSO session|conditional access policy",
        AccessError,
        "no access: single sign-on is required",
        "authorize the ssh key or the token for single sign-on, in the settings of your account "
        "at {host}",
    ),
    Meaning(
        r"IP allow ?list|[Yy]our IP address|IP address is not|allowlisted IP",
        AccessError,
        "no access: the host does not allow the IP address of this machine",
        "use an allowed network, or ask the repository's owner to allow the address",
    ),
    Meaning(
        _HOST + r"Your account (?:is|has been) ",
        AccessError,
        "no access: the host has blocked your account",
        "sign in at {host}, which says why",
    ),
    Meaning(
        r"(?:SSH key|[Tt]oken)\b.{0,40} expired",
        AccessError,
        "no access: the ssh key or the token has expired",
        "replace it in the settings of your account at {host}",
    ),
    Meaning(
        r"password authentication was removed|stopped supporting account passwords"
        r"|password authentication is disabled",
        AccessError,
        "no access: the host accepts no passwords, only tokens",
        "create a token at {host}; {sign_in}",
    ),
    Meaning(
        r"lack one or more required privilege scopes|access to repository not granted"
        r"|insufficient_scope",
        AccessError,
        "no access: the token may not read this repository",
        "let it read the contents of the repository, in the settings of your account at {host}",
    ),
    Meaning(
        # Of GitHub, then of Gitea with the number and the name of the key.
        r"denied to deploy key|^Deploy Key: |via a deployment key|^(?:remote: )?This deploy key",
        AccessError,
        "no access: the deploy key is of another repository",
        "add the key to this repository, or to your account at {host}",
    ),
    Meaning(
        # `TF400813` is of Azure, "level read access" of Gogs.
        r"not authorized to (?:read|access)|^ERROR: Permission to \S+ denied|TF400813"
        r"|not allowed to (?:download|pull|clone|access)|does not have level read access",
        AccessError,
        "no access: your account may not read this repository",
        "ask its owner, and check which account the host sees: {ssh}",
    ),
    Meaning(
        r"Repository (?:unavailable|access blocked)|disabled by GitHub|returned error: (?:410|451)",
        InsidersError,
        "the host has withdrawn the repository",
        "see its page at {host}",
    ),
    Meaning(
        _HOST + r".*(?i:\bmaintenance\b)",
        UnreachableError,
        "the host is under maintenance",
        _RETRY,
    ),
    Meaning(
        r"(?:returned error:|HTTP code) 429|^fatal: rate limited by"
        r"|^(?:remote|ERROR): .*(?i:too many|rate limit|retry later)",
        UnreachableError,
        "the host limits requests",
        _RETRY,
    ),
    Meaning(
        _STATUS
        + PASSING_STATUS
        + "|"
        + _HOST
        + r"(?i:internal (?:server )?(?:error|api)|failed to check access"
        r"|.*temporarily (?:unavailable|read-only))",
        UnreachableError,
        "the host fails",
        _RETRY,
    ),
    Meaning(
        # `TF401019` is of Azure, "no longer exists" of Bitbucket, "not exported" of git daemon. A
        # host answers the same of a repository that it does not show.
        r"does not appear to be a git repository|TF401019|no longer exists in this workspace"
        r"|access denied or repository not exported|^remote: Not found"
        "|" + _HOST + r"(?:(?i:the )?(?i:requested )?(?i:repository|project)\b.* )?(?i:not found"
        r"|cannot find repository|could not be found|does not exist|no such repository)",
        InsidersError,
        "repository not found, or no access to it",
        "check the name, and that your sponsorship or account gives access",
    ),
    # Credentials.
    Meaning(
        # Before "Permission denied": ssh leaves out a key that it cannot use, and is refused
        # without it.
        r"^Load key \"(?P<key>[^\"\n]+)\": bad permissions"
        r"|^Permissions 0\d+ for '(?P<file>[^'\n]+)' are too open",
        AccessError,
        "no access: others can read the ssh key, so ssh ignores it",
        "`chmod 600 {key}`",
        SSH,
    ),
    Meaning(
        r"^Load key \"(?P<key>[^\"\n]+)\": incorrect passphrase",
        AccessError,
        "no access: the ssh key needs its passphrase",
        "add it to the ssh agent: `ssh-add {key}`",
        SSH,
    ),
    Meaning(
        r"^Load key \"(?P<key>[^\"\n]+)\": ",
        AccessError,
        "no access: ssh cannot read the key",
        "check it: `ssh-keygen -y -f {key}`",
        SSH,
    ),
    Meaning(
        r"agent refused operation",
        AccessError,
        "no access: the ssh agent refuses to use the key",
        "unlock it: `ssh-add`, then {ssh}",
        HERE,
    ),
    Meaning(
        r"^(?:no such identity: |Warning: Identity file )(?P<key>[^:\n]+?)(?: not accessible)?: ",
        AccessError,
        "no access: the ssh key is missing",
        "restore {key}, or change `IdentityFile` in ~/.ssh/config{https}",
        SSH,
    ),
    Meaning(
        # The last is of Azure.
        r"Permission denied \(|Too many authentication failures"
        r"|(?i:public key) authentication failed",
        AccessError,
        "no access: the host does not accept the credentials",
        "add your ssh key at {host}, until {ssh} works; a key with a passphrase must be in the ssh "
        "agent{https}",
    ),
    Meaning(
        _STATUS + "407",
        InsidersError,
        "the proxy requires credentials",
        "set its user: `git config --global http.proxy http://USER@PROXY:PORT`, and store the "
        "password in git: `git help credentials`",
    ),
    Meaning(
        r"(?:HTTP code|tunnel failed, response) 40[13]",
        InsidersError,
        "the proxy refuses the connection",
        "ask its owner to allow {host}",
    ),
    Meaning(
        # Git may ask nobody: GIT_TERMINAL_PROMPT=0 and GIT_ASKPASS=false.
        r"could not read (?:Username|Password)|unable to read askpass",
        AccessError,
        "no access: git has no credentials for the host",
        "{sign_in}",
    ),
    Meaning(
        r"Authentication failed|Invalid username or|HTTP Basic: Access denied"
        r"|returned error: 40[13]|^remote: (?:Unauthorized|Access denied|Forbidden)",
        AccessError,
        "no access: the host does not accept the credentials",
        "{sign_in}",
    ),
    Meaning(
        # The place that git was redirected to, of the lines that follow "unable to update url
        # base".
        rf"^ *redirect: \S*{_LOGIN}",
        AccessError,
        "no access: the host redirects to a sign-in page",
        "{sign_in}",
    ),
    Meaning(
        r"^ *redirect: |returned error: 30\d",
        InsidersError,
        "the host redirects to another page",
        "open {url} in a browser; the repository may have moved",
    ),
    Meaning(
        # A page with status 200 in the place of the list of refs.
        r"info/refs not valid: ",
        AccessError,
        "no access: the host answers with a web page, such as a sign-in page",
        "check the URL, or {sign_in}",
    ),
    *TLS_MEANINGS,
    # The network. What connects, and fails for no reason above, will pass.
    Meaning(
        r"Could not resolve proxy",
        UnreachableError,
        "cannot resolve the name of the proxy",
        "check `http.proxy` of git, https_proxy, and the network",
    ),
    Meaning(
        UNRESOLVED + "|unable to look up",
        UnreachableError,
        "cannot resolve the name of the host",
        "check the name and the network",
    ),
    Meaning(
        r"^kex_exchange_identification|[Cc]onnection (?:reset|closed)|RPC failed|early EOF"
        r"|hung up|unexpected disconnect|Empty reply|non-properly terminated|SSL_ERROR_SYSCALL"
        r"|unexpected eof|recv error|send error|(?:Recv|Send) failure|send disconnect|Broken pipe"
        r"|HTTP/2 (?:stream|framing)|transfer closed|ssh_dispatch_run_fatal|CONNECT aborted"
        r"|bad record mac|pack is corrupted|Unexpected EOF",
        UnreachableError,
        "the connection to the host broke",
        _RETRY,
    ),
    Meaning(
        UNREACHABLE + r"|Failed to connect|Couldn't connect|Could not connect|unable to connect"
        r"|(?:Network|Host) is down|timed out|Timeout was reached|connection timeout"
        r"|Timeout, server|too slow",
        UnreachableError,
        "host unreachable",
        "check the network; the next update tries again",
    ),
    # Other statuses of servers, which will be the same at the next attempt.
    Meaning(
        # Such as 501 of a web server without git; those of `PASSING_STATUS` have matched above.
        _STATUS + r"5\d\d\b",
        InsidersError,
        "the host or a proxy refuses the request",
        "check the URL and the proxy",
    ),
    Meaning(
        r"unadvertised object|not our ref",
        RefusedError,
        "the host does not send a requested commit",
        "the commit may have been removed; the next update tries again",
    ),
    Meaning(
        r"transport '[\w-]+' not allowed|Unsupported URL scheme"
        r"|not supported or disabled in libcurl"
        r'|Protocol "[\w-]+" (?:is )?disabled',
        InsidersError,
        "this transport is not allowed",
        "use a URL of https, ssh, git or file",
    ),
    Meaning(
        r"git-upload-pack: (?:command )?not found",
        InsidersError,
        "git is not installed on the host",
        "install it there, in the PATH of {ssh}",
    ),
    Meaning(
        # Seen of a shell that greets: its text comes before git's protocol, which begins with a
        # length.
        r"bad line length character",
        UnreachableError,
        "the host sends other text before its answer",
        "the shell of its user must print nothing: {ssh}",
    ),
)

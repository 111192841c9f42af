"""Every case that doctor knows: how grave it is, what was seen, the rule, the next step."""

from collections.abc import Mapping

from collector.findings import Case, Said

TITLES: Mapping[str, Said] = {
    "config": Said("configuration", "配置"),
    "python": Said("Python", "Python"),
    "platform": Said("platform", "平台"),
    "names": Said("import names", "导入名"),
    "safe_path": Said("module path", "模块搜索路径"),
    "libraries": Said("libraries", "依赖库"),
    "sqlite": Said("SQLite", "SQLite"),
    "descriptors": Said("open files", "打开文件数"),
    "encoding": Said("encoding", "字符编码"),
    "clock": Said("clock", "时钟"),
    "zones": Said("time zone", "时区"),
    "room": Said("disk room", "磁盘空间"),
    "inodes": Said("inodes", "inode"),
    "mount": Said("file system", "文件系统"),
    "writable": Said("write permission", "写权限"),
    "secrets": Said("secret files", "密钥文件"),
    "certificates": Said("certificates", "证书"),
}
"""What each check is called."""

_INSTALLATION: Mapping[str, Case] = {
    "python.ok": Case("ok", Said("{version}", "{version}"), Said("{oldest} or later", "须为 {oldest} 或更高")),
    "python.old": Case(
        "fault",
        Said("{version}", "{version}"),
        Said("{oldest} or later is needed", "须为 {oldest} 或更高"),
        Said("make the environment with a newer Python", "请用较新的 Python 重建运行环境"),
    ),
    "platform.ok": Case(
        "ok",
        Said("{system} {machine}", "{system} {machine}"),
        Said("Linux on x86_64 or aarch64", "Linux，x86_64 或 aarch64"),
    ),
    "platform.other": Case(
        "warning",
        Said("{system} {machine}", "{system} {machine}"),
        Said("it is tried on Linux, x86_64 and aarch64 alone", "仅在 Linux x86_64 和 aarch64 上验证过"),
        Said("run the agent on one of these", "请在上述平台运行采集程序"),
    ),
    "names.ok": Case(
        "ok", Said("{names}: PlantProof's own", "{names}：均属于 PlantProof"), Said("no other has one", "不得重名")
    ),
    "names.owned": Case(
        "fault",
        Said("{name} also belongs to {others}", "{name} 同时属于 {others}"),
        Said("the import names are PlantProof's alone in its environment", "运行环境中这些导入名只能属于 PlantProof"),
        Said(
            "uninstall {others} here, or give PlantProof a venv of its own",
            "请卸载 {others}，或为 PlantProof 单独建立 venv",
        ),
    ),
    "names.shadowed": Case(
        "fault",
        Said("{name} is taken from {path}, the others from {home}", "{name} 取自 {path}，其余取自 {home}"),
        Said("all come from one installation", "全部模块须来自同一处安装"),
        Said("remove or rename {path}, or set PYTHONSAFEPATH=1", "请移除或改名 {path}，或设置 PYTHONSAFEPATH=1"),
    ),
    "names.folder": Case(
        "fault",
        Said("{path} has the name of a part of PlantProof", "{path} 与 PlantProof 的模块重名"),
        Said("Python looks for modules in the working directory", "Python 会在当前目录中查找模块"),
        Said("set PYTHONSAFEPATH=1, or start from another directory", "请设置 PYTHONSAFEPATH=1，或换一个目录启动"),
    ),
    "safe_path.ok": Case(
        "ok",
        Said("the working directory is not searched", "不搜索当前目录"),
        Said("so nothing there can stand in", "当前目录中的文件不会被误载入"),
    ),
    "safe_path.off": Case(
        "warning",
        Said("modules are looked for in {cwd}", "会在 {cwd} 中查找模块"),
        Said("a file there may stand in for a module", "该目录中的同名文件可能被误载入"),
        Said("set PYTHONSAFEPATH=1", "请设置 PYTHONSAFEPATH=1"),
    ),
    "libraries.ok": Case(
        "ok",
        Said("all {count} of the agent's", "采集程序的 {count} 个依赖库均在"),
        Said("at versions that were tried", "版本均经过验证"),
    ),
    "libraries.missing": Case(
        "fault",
        Said("{name} is not installed", "未安装 {name}"),
        Said("the agent needs it", "采集程序需要该库"),
        Said("install from requirements.lock ({name} {tried})", "请按 requirements.lock 安装（{name} {tried}）"),
    ),
    "libraries.other": Case(
        "warning",
        Said("{name} {version}", "{name} {version}"),
        Said("tried with {tried}", "经过验证的版本是 {tried}"),
        Said("install from requirements.lock", "请按 requirements.lock 安装"),
    ),
    "sqlite.unused": Case("ok", Said("nothing here is read with it", "本厂配置未用到"), Said("", "")),
    "sqlite.ok": Case("ok", Said("{version}, for {users}", "{version}，用于 {users}"), Said("", "")),
    "sqlite.old": Case(
        "warning",
        Said("{version}, for {users}", "{version}，用于 {users}"),
        Said(
            "before {sound} a database in WAL mode with several connections may be damaged",
            "{sound} 之前的版本，多个连接同时使用 WAL 模式的数据库时可能损坏数据",
        ),
        Said(
            "update SQLite, or let nobody else have the database open", "请升级 SQLite，或避免其他程序同时打开该数据库"
        ),
    ),
    "descriptors.ok": Case(
        "ok", Said("up to {limit}", "上限 {limit}"), Said("{needed} may be needed", "可能需要 {needed}")
    ),
    "descriptors.low": Case(
        "warning",
        Said("up to {limit}", "上限 {limit}"),
        Said("{needed} may be needed; {usual} are usual", "可能需要 {needed}；通常为 {usual}"),
        Said("raise LimitNOFILE of the unit, or ulimit -n", "请提高服务单元的 LimitNOFILE 或 ulimit -n"),
    ),
    "descriptors.few": Case(
        "fault",
        Said("up to {limit}", "上限 {limit}"),
        Said("{needed} may be needed by sources and sinks", "数据源和存储可能需要 {needed}"),
        Said("raise LimitNOFILE of the unit, or ulimit -n", "请提高服务单元的 LimitNOFILE 或 ulimit -n"),
    ),
    "encoding.ok": Case("ok", Said("{told}", "{told}"), Said("UTF-8", "UTF-8")),
    "encoding.other": Case(
        "warning",
        Said("{told}", "{told}"),
        Said("names and texts are UTF-8", "名称和文本均为 UTF-8"),
        Said("set LANG=C.UTF-8 or PYTHONUTF8=1", "请设置 LANG=C.UTF-8 或 PYTHONUTF8=1"),
    ),
}

_CLOCK: Mapping[str, Case] = {
    "clock.ok": Case(
        "ok", Said("{now}", "{now}"), Said("nothing that was written is newer", "已写入的数据均不晚于此刻")
    ),
    "clock.back": Case(
        "fault",
        Said("{now}, and {of} says {at}", "{now}，而 {of} 记录的时间为 {at}"),
        Said(
            "what was written is {ahead} s ahead: the clock was or is wrong",
            "已写入的数据超前 {ahead} 秒：时钟曾经或现在不准",
        ),
        Said("set the clock (NTP) before the agent runs on", "请先校准时钟（NTP），再继续采集"),
    ),
    "clock.unset": Case(
        "fault",
        Said("{now}", "{now}"),
        Said(
            "PlantProof was installed on {installed}: the clock is not set",
            "PlantProof 安装于 {installed}：时钟尚未校准",
        ),
        Said("set the clock (NTP), and look at its battery", "请校准时钟（NTP），并检查主板电池"),
    ),
    "clock.alone": Case(
        "warning",
        Said("{now}; the system says that nothing keeps it right", "{now}；系统报告时钟未同步"),
        Said("times of samples are worth what the clock is", "采样时间是否可信取决于时钟"),
        Said("set up NTP to a server of the plant", "请配置 NTP，与厂内时间服务器同步"),
    ),
    "clock.source": Case(
        "warning",
        Said("source {source}: {said} ({count})", "数据源 {source}：{said}（{count}）"),
        Said("samples bear the source's own time", "采样采用数据源自身的时间"),
        Said('set that clock, or timestamp = "receive"', '请校准该时钟，或设 timestamp = "receive"'),
    ),
    "zones.ok": Case("ok", Said("{zone}, from {place}", "{zone}，来自 {place}"), Said("", "")),
    "zones.missing": Case(
        "fault",
        Said("{zone} is in no time zone database here", "本机时区数据库中没有 {zone}"),
        Said("shifts and production days need it", "班次和生产日的划分需要时区"),
        Said("install tzdata, of the system or the library", "请安装系统的 tzdata 或同名 Python 库"),
    ),
}

_PLACES: Mapping[str, Case] = {
    "room.ok": Case(
        "ok",
        Said("{kind} {path}: {free} free", "{kind} {path}：剩余 {free}"),
        Said("{needed} may be needed", "可能需要 {needed}"),
    ),
    "room.low": Case(
        "warning",
        Said("{kind} {path}: {free} free", "{kind} {path}：剩余 {free}"),
        Said("its size limit leaves it {needed} more to grow", "按大小上限还会增长 {needed}"),
        Said("make room, or lower max_size or keep_size", "请清理磁盘，或调低 max_size 或 keep_size"),
    ),
    "room.short": Case(
        "warning",
        Said("{kind} {path}: {free} free, full in {days} days", "{kind} {path}：剩余 {free}，约 {days} 天后写满"),
        Said("it grows by {grows} a day; {enough} days are asked for", "每天增长 {grows}；要求至少够用 {enough} 天"),
        Said("make room, or set keep or keep_size of the sink", "请清理磁盘，或设置该存储的 keep 或 keep_size"),
    ),
    "room.none": Case(
        "fault",
        Said("{kind} {path}: {free} free", "{kind} {path}：剩余 {free}"),
        Said("a segment of the spool alone takes {needed}", "缓存的一个分段就需要 {needed}"),
        Said("make room now", "请立即清理磁盘"),
    ),
    "inodes.ok": Case("ok", Said("{kind} {path}: {free} free", "{kind} {path}：剩余 {free}"), Said("", "")),
    "inodes.unlimited": Case("ok", Said("{kind} {path}: without limit", "{kind} {path}：无上限"), Said("", "")),
    "inodes.low": Case(
        "warning",
        Said("{kind} {path}: {free} free", "{kind} {path}：剩余 {free}"),
        Said("less than {share} of the file system's", "不足该文件系统总数的 {share}"),
        Said("remove small files, or use another file system", "请删除零碎文件，或换用其他文件系统"),
    ),
    "inodes.none": Case(
        "fault",
        Said("{kind} {path}: none free", "{kind} {path}：已用尽"),
        Said("no file can be made, whatever room there is", "即使有空间也无法新建文件"),
        Said("remove small files", "请删除零碎文件"),
    ),
    "mount.ok": Case(
        "ok", Said("{kind} {path}: {type} at {mount}", "{kind} {path}：{type}，挂载于 {mount}"), Said("", "")
    ),
    "mount.network": Case(
        "warning",
        Said("{kind} {path}: {type} at {mount}", "{kind} {path}：{type}，挂载于 {mount}"),
        Said(
            "locks and syncs of another machine's disk are not those of a local one", "网络盘的锁和落盘保证与本地盘不同"
        ),
        Said("put it on a local disk, the spool above all", "请放到本地磁盘，缓存尤其如此"),
    ),
    "mount.memory": Case(
        "fault",
        Said("{kind} {path}: {type} at {mount}", "{kind} {path}：{type}，挂载于 {mount}"),
        Said("it is memory: all is gone with the power", "这是内存盘，断电即丢失"),
        Said("name a folder on a disk in plant.toml", "请在 plant.toml 中改为磁盘上的目录"),
    ),
    "mount.layer": Case(
        "warning",
        Said("{kind} {path}: {type} at {mount}", "{kind} {path}：{type}，挂载于 {mount}"),
        Said("it is a container's own layer, gone with the container", "这是容器自身的层，容器删除即丢失"),
        Said("mount a volume there", "请在此挂载数据卷"),
    ),
    "mount.read_only": Case(
        "fault",
        Said("{kind} {path}: {type} at {mount}, read-only", "{kind} {path}：{type}，挂载于 {mount}，只读"),
        Said("the agent writes there", "采集程序需要写入"),
        Said("mount it for writing, or name another folder", "请以可写方式挂载，或改用其他目录"),
    ),
    "writable.ok": Case("ok", Said("{kind} {path}: owner {owner}", "{kind} {path}：属主 {owner}"), Said("", "")),
    "writable.no": Case(
        "fault",
        Said("{kind} {path}: not writable ({why})", "{kind} {path}：不可写（{why}）"),
        Said("the agent writes there", "采集程序需要写入"),
        Said("give it to the agent's user (chown, chmod)", "请将其交给采集程序的用户（chown、chmod）"),
    ),
    "writable.owner": Case(
        "warning",
        Said("{file} belongs to user {other}, its folder to {owner}", "{file} 属于用户 {other}，所在目录属于 {owner}"),
        Said("one of the two cannot write what the other made", "其中一方无法改写另一方的文件"),
        Said(
            "run all verbs as the agent's user; chown what is there",
            "请以采集程序的用户执行各命令，并用 chown 修正属主",
        ),
    ),
}

_SECRETS: Mapping[str, Case] = {
    "secrets.ok": Case(
        "ok", Said("{count} files", "{count} 个文件"), Said("nobody else can read them", "其他用户均不可读")
    ),
    "secrets.open": Case(
        "fault",
        Said("{path} has mode {mode}", "{path} 的权限为 {mode}"),
        Said("every user of this machine can use it", "本机任何用户都能使用"),
        Said(
            "chmod o= on it, and change the secret if others were here", "请执行 chmod o=；若曾有他人登录，请更换密钥"
        ),
    ),
    "secrets.changeable": Case(
        "warning",
        Said("{path} has mode {mode}", "{path} 的权限为 {mode}"),
        Said("its group can change it", "同组用户可以改写"),
        Said("chmod g-w on it", "请执行 chmod g-w"),
    ),
    "secrets.unreadable": Case(
        "fault",
        Said("{path} cannot be read ({why})", "{path} 无法读取（{why}）"),
        Said("plant.toml names it", "plant.toml 中指定了该文件"),
        Said("make it, or run doctor as the agent's user", "请创建该文件，或以采集程序的用户运行 doctor"),
    ),
    "certificates.ok": Case(
        "ok",
        Said("{count} files", "{count} 个文件"),
        Said("each holds for {days} days at least", "有效期均不少于 {days} 天"),
    ),
    "certificates.soon": Case(
        "warning",
        Said("{path} ({subject}) ends on {end}, in {left} days", "{path}（{subject}）将于 {end} 到期，还有 {left} 天"),
        Said("less than {days} days are left", "剩余不足 {days} 天"),
        Said("have it renewed, and let the other side trust the new one", "请更换证书，并让对方信任新证书"),
    ),
    "certificates.expired": Case(
        "fault",
        Said("{path} ({subject}) ended on {end}", "{path}（{subject}）已于 {end} 过期"),
        Said("no link that rests on it stands", "依赖该证书的连接均无法建立"),
        Said("have it renewed, and let the other side trust the new one", "请更换证书，并让对方信任新证书"),
    ),
    "certificates.early": Case(
        "fault",
        Said("{path} ({subject}) begins on {begin}", "{path}（{subject}）自 {begin} 起生效"),
        Said("it does not hold yet, or the clock is behind", "证书尚未生效，或时钟偏慢"),
        Said("set the clock, or wait for it", "请校准时钟，或等待其生效"),
    ),
    "certificates.unreadable": Case(
        "fault",
        Said("{path} cannot be read ({why})", "{path} 无法读取（{why}）"),
        Said("certificates are X.509 in PEM or DER", "证书须为 PEM 或 DER 格式的 X.509"),
        Said("mend the file, its name or its permissions", "请检查文件内容、名称和权限"),
    ),
    "certificates.locked": Case(
        "fault",
        Said("{path} has a passphrase", "{path} 设有口令"),
        Said("the agent starts without anybody to type it", "采集程序启动时无人输入口令"),
        Said(
            "give a key without one, which the agent's user alone can read",
            "请改用无口令的私钥，且仅采集程序的用户可读",
        ),
    ),
    "certificates.no_key": Case(
        "fault",
        Said("{path} is no private key", "{path} 不是私钥"),
        Said("keys are in PEM or DER", "私钥须为 PEM 或 DER 格式"),
        Said("mend the file or its name", "请检查文件内容和名称"),
    ),
    "certificates.mismatch": Case(
        "fault",
        Said("{key} is not the key of {path}", "{key} 不是 {path} 的私钥"),
        Said("certificate and key belong together", "证书与私钥须配对"),
        Said("name the two that were made together", "请指定同时生成的一对"),
    ),
}

_CONFIG: Mapping[str, Case] = {
    "config.ok": Case(
        "ok",
        Said(
            "{sources} sources, {points} points, {sinks} sinks", "{sources} 个数据源，{points} 个点位，{sinks} 个存储"
        ),
        Said("", ""),
    ),
    "config.faults": Case(
        "fault",
        Said("{count} faults; the first: {first}", "{count} 处错误，第一处：{first}"),
        Said("the agent starts only without", "有错误时采集程序不会启动"),
        Said("mend what `plantproof check` lists", "请按 plantproof check 列出的内容修改"),
    ),
}

CASES: Mapping[str, Case] = {**_CONFIG, **_INSTALLATION, **_CLOCK, **_PLACES, **_SECRETS}
"""`check.case` -> what it is."""

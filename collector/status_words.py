"""What `plantproof status` says beside names, figures and the words of others."""

from collections.abc import Mapping

from collector.findings import Said

WORDS: Mapping[str, Said] = {
    "agent": Said(
        "agent {agent} of {plant}: {state}, report {age} s old",
        "采集程序 {agent}（工厂 {plant}）：{state}，状态更新于 {age} 秒前",
    ),
    "healthy": Said("healthy", "正常"),
    "unhealthy": Said("NOT HEALTHY", "异常"),
    "none ran": Said(
        "no agent has run with the spool {spool}; start one with: plantproof run {plant}",
        "尚无采集程序使用过缓存 {spool}；启动命令：plantproof run {plant}",
    ),
    "waiting": Said("no agent has run yet; waiting", "采集程序尚未运行；等待中"),
    "fault": Said(
        "1 fault in the configuration by now; see plantproof check {plant}",
        "配置文件现有 1 处错误；请运行 plantproof check {plant} --lang zh 查看",
    ),
    "faults": Said(
        "{count} faults in the configuration by now; see plantproof check {plant}",
        "配置文件现有 {count} 处错误；请运行 plantproof check {plant} --lang zh 查看",
    ),
    # Lines begin with what they are about.
    "of source": Said("source", "数据源"),
    "of sink": Said("sink", "存储"),
    "of spool": Said("spool", "缓存"),
    "of health": Said("health", "监控接口"),
    "of config": Said("config", "配置"),
    "of ledger": Said("ledger", "丢失记录"),
    "data": Said("data {age}", "数据 {age}"),
    "never": Said("never", "从未收到"),
    "ago": Said("{age:.1f} s ago", "{age:.1f} 秒前"),
    "rows": Said("{rows} rows", "{rows} 行"),
    "covered": Said(
        "{fresh} of {configured} points fresh, {monitored} known to the source",
        "{configured} 个点位中 {fresh} 个数据新鲜，数据源认得 {monitored} 个",
    ),
    "not fresh": Said("; not fresh: {points}", "；不新鲜：{points}"),
    "more": Said(" and {more} more", " 等 {all} 个"),
    "bus": Said(
        "link busy {bus_time:.0%}, {requests_a_cycle} requests a cycle, {requests_per_s:g} a second, "
        "{request_ms:g} ms each (longest {longest_ms:g} ms), {polls_missed} polls missed",
        "链路占用率 {bus_time:.0%}，每轮 {requests_a_cycle} 个请求，每秒 {requests_per_s:g} 个，"
        "应答时间 {request_ms:g} ms（最长 {longest_ms:g} ms），错过轮询 {polls_missed} 次",
    ),
    "messages": Said("{messages} messages of {topics} topics", "收到 {topics} 个主题的 {messages} 条消息"),
    "unread": Said("{unread_messages} of topics that no point reads", "其中 {unread_messages} 条的主题无点位读取"),
    "waiting messages": Said("{waiting} waiting", "待处理 {waiting} 条"),
    "warning": Said("warning: {text}", "提醒：{text}"),
    "in doubt": Said("in doubt: {text} ({count})", "存疑：{text}（{count}）"),
    "filled": Said("filled in from the source's history: {rows} rows", "由数据源历史补数：{rows} 行"),
    "sink": Said("{rows} rows, {batches} batches behind", "已存 {rows} 行，落后 {batches} 批"),
    "behind": Said("by {seconds:.0f} s", "落后时间 {seconds:.0f} 秒"),
    "upkeep": Said("warning: housekeeping: {text}", "提醒：存储整理受阻：{text}"),
    "spool": Said("{bytes} B, last batch {last}", "{bytes} B，最新批次号 {last}"),
    "quarantine": Said("{bytes} B in quarantine", "隔离区 {bytes} B"),
    "cannot listen": Said("cannot listen at {listen}: {text}", "无法在 {listen} 监听：{text}"),
    "not reloaded": Said(
        "NOT RELOADED {at}, the one before is in use: {fault}", "{at} 未能重新加载，仍用原配置：{fault}"
    ),
    "reloaded": Said("reloaded {at}", "{at} 已重新加载"),
    "waits": Said("{sections} of plant.toml waits for a restart", "plant.toml 的 {sections} 须重启采集程序后生效"),
    "entry": Said("{ts} {event}: {reason}", "{ts} {event}：{reason}"),
    "lost": Said(" ({rows} rows, {sinks})", "（{rows} 行，{sinks}）"),
    # Heads and cells of --watch.
    "head source": Said("source", "数据源"),
    "head kind": Said("kind", "类型"),
    "head link": Said("link", "连接状态"),
    "head fresh": Said("fresh", "数据新鲜"),
    "head data": Said("data", "最近数据"),
    "head points fresh": Said("points fresh", "新鲜点数"),
    "head reconnects": Said("reconnects", "重连次数"),
    "head bus time": Said("bus time", "链路占用率"),
    "head error": Said("error", "故障原因"),
    "head sink": Said("sink", "存储"),
    "head rows": Said("rows", "已存行数"),
    "head batches behind": Said("batches behind", "落后批数"),
    "head behind": Said("behind", "落后时间"),
    "yes": Said("yes", "是"),
    "no": Said("no", "否"),
    "of": Said("{fresh} of {configured}", "{fresh}/{configured}"),
    "seconds": Said("{seconds:.0f} s", "{seconds:.0f} 秒"),
    "spool now": Said("spool {size}, last batch {last}", "缓存 {size}，最新批次号 {last}"),
    "written": Said("written {seconds:.0f} s ago", "{seconds:.0f} 秒前写入"),
    "oldest": Said("oldest not stored {seconds:.0f} s old", "最旧的未入库数据 {seconds:.0f} 秒前"),
    "pending": Said("{rows} rows wait for the disk", "待写入 {rows} 行"),
    "ledger now": Said("ledger {counts}", "丢失记录 {counts}"),
    "empty": Said("empty", "无"),
}
"""Every word, by a name for it."""

STATES: Mapping[str, str] = {
    "starting": "启动中",
    "connected": "已连接",
    "lost": "已断开",
    "refused": "被拒绝",
    "stopped": "已停止",
    "no sign of life": "无响应",
}
"""States of agents and sources."""

EVENTS: Mapping[str, str] = {
    "tail not read": "缓存尾部无法读取",
    "dropped": "丢弃最旧数据",
    "quarantined": "已隔离",
    "started": "采集程序启动",
    "stopped": "采集程序正常停止",
    "reloaded": "已重新加载配置",
    "reload refused": "新配置有误",
    "gap": "数据源中断",
    "clock jumped": "系统时钟跳变",
    "disk full": "磁盘已满",
    "disk has room": "磁盘恢复可用",
    "torn end": "末次写入不完整",
    "missing": "数据段缺失",
    "sink fault": "存储写入程序异常",
    "retention": "超出保留期",
    "not merged": "文件未合并",
    "imported": "人工导入历史数据",
    "commit failed": "写缓存失败",
    "lost at stop": "停止时未能写入的数据",
    "not stored": "未入库",
    "connector fault": "连接器异常",
    "in doubt": "已入库但存疑",
    "backfilled": "由数据源历史补数",
    "agent stood still": "采集程序停顿",
}
"""Events of the ledger, as the nomenclature's explanations begin."""

FIGURES: Mapping[str, str] = {
    "days": "天数",
    "files": "文件数",
    "bytes": "占用空间",
    "merging": "正在合并的文件数",
    "requests": "请求数",
    "sent_bytes": "发送字节数（压缩后）",
    "sent_rows": "发送行数",
    "retries": "重试次数",
    "refused_rows": "被拒收行数（已隔离）",
    "expired_rows": "超出保留期行数",
}
"""Figures of sinks, as the nomenclature has them."""

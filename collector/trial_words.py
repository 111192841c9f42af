"""What `plantproof test` says beside names, figures and the words of others."""

from collections.abc import Mapping

from collector.findings import Said

WORDS: Mapping[str, Said] = {
    "source": Said("source {name} ({url}): {told}", "数据源 {name}（{url}）：{told}"),
    "sink": Said("sink {name} ({url}): {told}", "存储 {name}（{url}）：{told}"),
    "spool": Said("spool ({url}): {told}", "缓存（{url}）：{told}"),
    "connected": Said("connected in {seconds:.2f} s", "{seconds:.2f} 秒连接成功"),
    "read": Said("{read} of {points} points read", "{points} 个点位中读到 {read} 个"),
    "uncertain of them": Said("{count} of them uncertain", "其中 {count} 个不确定"),
    "bad points": Said("{count} bad", "坏值 {count} 个"),
    "silent points": Said("{count} silent", "无数据 {count} 个"),
    "not connected": Said("NOT CONNECTED", "未能连接"),
    "not tried": Said("not tried", "未测试"),
    "answers": Said("answers in {seconds:.2f} s", "{seconds:.2f} 秒应答"),
    "not usable": Said("NOT USABLE", "不可用"),
    "fault": Said("fault: {text}", "故障：{text}"),
    "certificate": Said("certificate: {subject}, until {expires:%Y-%m-%d}", "证书：{subject}，{expires:%Y-%m-%d} 到期"),
    "renew": Said("; have it renewed", "；请更换证书"),
    "ahead": Said("clock: {seconds:.3f} s ahead of ours", "时钟：比本机快 {seconds:.3f} 秒"),
    "slow": Said("clock: {seconds:.3f} s behind ours", "时钟：比本机慢 {seconds:.3f} 秒"),
    "warning": Said("warning: {text}", "提醒：{text}"),
    "refused": Said("refused: {text}", "拒收：{text}"),
    "good": Said("good: {reading}", "正常：{reading}"),
    "uncertain": Said("uncertain: {reading}", "不确定：{reading}"),
    "bad": Said("bad: {reading}", "坏值：{reading}"),
    "silent": Said("silent: {reading}", "无数据：{reading}"),
    "more": Said("and {count} more: --points lists all", "另有 {count} 个：用 --points 列出全部"),
}
"""Every word, by a name for it."""

"""Scenes (业务场景, 典型场景) against findings and the plant's answers.

A level of a scene is always somebody's judgement: the data show parts of it at most. Level n is taken as declared with
all levels below it, as a higher one may only be judged once the lower ones are fully met.
"""

from config.registers import Answer
from config.rubrics import Scene
from kpis.indicators.rubrics.answers import Unanswered, level
from kpis.indicators.rubrics.result import Assessed, Case, Status
from kpis.indicators.said import Said

MOST = 4


def assess(case: Case, scene: Scene, answer: Answer | None) -> Assessed:
    """Return where a scene stands; raises ScoreError where the answer is no level."""
    names = {part.partial or part.proof for part in scene.levels} | {scene.partial}
    shown = [case.findings[name] for name in sorted(names - {""})]
    held = [finding.told for finding in shown if finding.holds]
    open_ones = [finding.told for finding in shown if not finding.holds]
    if answer is None:
        return Assessed(of=scene, status="not assessable", notes=held, missing=[*open_ones, _no_answer(scene)])
    reached = level(scene, answer, MOST)
    if scene.levels and reached and reached not in {part.level for part in scene.levels}:
        open_ones.append(_undescribed(scene, reached))
    status: Status = "partly proven" if held and reached else "declared"
    missing = open_ones if answer.attachment else [*open_ones, _no_attachment(scene)]
    return Assessed(of=scene, status=status, chosen=(reached,), answer=answer, notes=held, missing=missing)


def reached(found: Assessed) -> int:
    """Return the level that counts of a scene; 0 where none is declared."""
    return found.chosen[0] if found.chosen else 0


def _no_answer(scene: Scene) -> Said:
    return Unanswered(
        f"no level is declared; add a row with item {scene.id} to answers.csv",
        f"未申报等级；请在 answers.csv 中增加题号为 {scene.id} 的一行",
    )


def _undescribed(scene: Scene, number: int) -> Said:
    return Said(f"the text describes no level {number} of {scene.title}", f"文件未描述“{scene.title}”的第 {number} 级")


def _no_attachment(scene: Scene) -> Said:
    return Said(f"the level of {scene.id} has no attachment", f"{scene.id} 未附证明材料")

"""What is raised where a figure must not be given although its inputs are there."""

from kpis.indicators.said import Said


class InputError(ValueError):
    """Inputs that must not enter a figure: the thing, the value, the rule, the next step."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.en)
        self.said = said

"""Why a figure is what it is: its formula with the numbers filled in, and what of the shop floor stands behind them."""

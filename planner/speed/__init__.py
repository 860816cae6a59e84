"""How long steps take, from work and rates. Knows no engine."""

"""A pytest plugin for tools/mutants.py: that a test fails is enough, however long its story."""

from hypothesis import Phase, settings

LEFT_OUT = {Phase.shrink, Phase.explain}
settings.register_profile("mutants", phases=[phase for phase in Phase if phase not in LEFT_OUT])
settings.load_profile("mutants")

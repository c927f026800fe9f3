"""What every sim shares: the command line, the session, the record, progress, resume, and the figure."""

from sims.launch.fields import as_plain, flat, replaced
from sims.launch.options import Launch, parse
from sims.launch.run import Run
from sims.launch.sim import Sim, main, say
from sims.launch.terminal import table, wrap

__all__ = ["Launch", "Run", "Sim", "as_plain", "flat", "main", "parse", "replaced", "say", "table", "wrap"]

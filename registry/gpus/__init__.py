"""GPUs of this machine: what NVML says of them, and who trains on which.

`cards` reads them, `ledger` lends each to one process, `placing` chooses.
"""

from registry.gpus.cards import Card, NoGpu, cards
from registry.gpus.ledger import Ledger
from registry.gpus.placing import Lease, Placing, place

#: The size whose jobs look for a card.
SIZE = "gpu"

__all__ = ["SIZE", "Card", "Lease", "Ledger", "NoGpu", "Placing", "cards", "place"]

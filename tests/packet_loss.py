"""
Counts the words that are recognized wrongly because packets of audio were lost.

    python tests/packet_loss.py --seeds 5 --loss 0.05 --delay-ms 60

The test suite does not run this program. The emulator's voices speak 50 sentences. The packets of
these sentences pass a simulated network in virtual time (``support/lossy_network.py``). In the
output, ``user`` is the user's speech, which the emulator decodes. ``answer`` is the service's
speech, which the client decodes. Sentences that are recognized wrongly without loss are left out.
"""

from __future__ import annotations

import argparse
import sys

from inworld_sync import Inworld

from support.lossy_network import DECODERS, sentences
from support.sentences import MORE_SENTENCES, SENTENCES


def main() -> None:
    """Print one row for the user's speech and one row for the service's speech."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--loss", type=float, default=0.05)
    parser.add_argument("--delay-ms", type=float, default=60.0)
    parser.add_argument("--sentences", type=int, default=50)
    parser.add_argument("--no-fec", action="store_true", help="the sender adds no copies")
    chosen = parser.parse_args()
    network = {"loss": chosen.loss, "delay": chosen.delay_ms / 1000.0}
    with Inworld(local=True) as iw:
        texts = [*SENTENCES, *MORE_SENTENCES][: chosen.sentences]
        spoken = sentences(iw, texts, fec=not chosen.no_fec)
        for side in DECODERS:
            used = [each for each in spoken if not each.errors(side, 0, loss=0.0, delay=0.0)]
            found = [
                each.errors(side, seed, **network) for seed in range(chosen.seeds) for each in used
            ]
            words = chosen.seeds * sum(each.words for each in used)
            sys.stdout.write(
                f"{side}: {sum(found)} of {words} words are wrong, in "
                f"{sum(each > 0 for each in found)} of {len(found)} sentences\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()

"""What Affix is measured against: each a program of its own, as well written as the part it is compared with."""

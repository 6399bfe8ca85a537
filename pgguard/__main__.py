"""`python -m pgguard` is `pgguard`."""

from pgguard.cli.main import main

main()

"""`python -m registry_auditor`: the same as the command `registry-auditor`."""

from registry_auditor.cli import main

if __name__ == "__main__":
    main()

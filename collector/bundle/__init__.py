"""The offline bundle: wheels of the lock for one platform, with hashes, SBOM and installer. No agent imports this."""

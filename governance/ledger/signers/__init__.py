"""What signs checkpoints: a key in a file, a PKCS#11 token, or a signer process that holds the key alone."""

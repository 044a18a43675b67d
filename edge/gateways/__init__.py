"""What the node leans on beside databases: mail servers, issuers, password hashes, passkeys."""

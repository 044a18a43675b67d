"""What the node leans on outside its databases: mail servers, issuers, password hashing, passkeys."""

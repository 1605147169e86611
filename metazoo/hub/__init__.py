"""The policies of a directory or an address: listing, downloading, pushing."""

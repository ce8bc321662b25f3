"""TLS that ends in a node: certificates, what a ClientHello asks for, and the connection in clear text behind it."""

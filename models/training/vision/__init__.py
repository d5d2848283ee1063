"""Training of the vision network of the evidence services: forged or genuine, which forgery, which kind of document."""

"""Training of the multimodal network: does this document belong to this payment?"""

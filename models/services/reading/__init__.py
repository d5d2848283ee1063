"""Reading a document and saying what was found: OCR, fields against the payment, the drafted report."""

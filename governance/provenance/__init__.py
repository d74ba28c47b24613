"""What people declare about external data and base models: licence, basis of consent, window; SPDX expressions."""

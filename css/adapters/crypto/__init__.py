"""Cryptography of licences."""

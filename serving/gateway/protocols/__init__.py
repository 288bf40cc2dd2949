"""The request formats that clients already speak, each turned into columns and back."""

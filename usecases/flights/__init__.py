"""Flight delays: will a flight from New York arrive fifteen minutes late or more?"""

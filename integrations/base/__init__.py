"""What every vendor shares: records, roles, errors, manifest, HTTP. Imports no Django and no vendor."""

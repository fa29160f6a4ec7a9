"""Settings → TRL's DPOConfig → trainer. The one room that knows TRL."""

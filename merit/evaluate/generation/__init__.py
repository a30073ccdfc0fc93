"""Report generation: a frozen encoder's embeddings condition a language model (App. A.2.2; Table 3)."""

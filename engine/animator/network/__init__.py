"""The paper's animator network, plain and guided by the mesh."""

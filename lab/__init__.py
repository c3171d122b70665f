"""The throwaway lab: hosts in containers, on which releases of the sample application run."""

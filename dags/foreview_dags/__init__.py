"""What the DAG files share. Only the standard library and Airflow: parsing must stay quick."""
